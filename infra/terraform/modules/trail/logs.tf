# Access logs of the buckets. S3 delivers them only to a bucket that is encrypted with S3's own keys.

resource "aws_s3_bucket" "logs" {
  #checkov:skip=CKV2_AWS_62:nothing listens to the bucket
  #checkov:skip=CKV_AWS_144:a copy in another region is a question of residency: not made by default
  #checkov:skip=CKV_AWS_145:S3 delivers access logs only to buckets under SSE-S3
  #checkov:skip=CKV_AWS_18:logging the bucket of logs into itself would never end
  bucket = var.logs_bucket
}

resource "aws_s3_bucket_versioning" "logs" {
  bucket = aws_s3_bucket.logs.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_public_access_block" "logs" {
  bucket                  = aws_s3_bucket.logs.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "logs" {
  bucket = aws_s3_bucket.logs.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  bucket = aws_s3_bucket.logs.id

  rule {
    id     = "kept"
    status = "Enabled"

    filter {
      prefix = ""
    }

    expiration {
      days = var.kept_days
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.id
  policy = var.logs_policy
}
