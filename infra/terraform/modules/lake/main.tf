# The lake: one bucket, its zones are folders. The platform opens one bucket and one prefix (docs/storage.md), so zones
# are kept apart by policies on prefixes and by keys of their own, not by buckets.

#checkov:skip=CKV2_AWS_62:nothing listens to the bucket; what is new is told by the control database
resource "aws_s3_bucket" "lake" {
  #checkov:skip=CKV2_AWS_62:nothing listens to the bucket; what is new is told by the control database
  #checkov:skip=CKV_AWS_144:a copy in another region is a question of residency and erasure: not made by default
  bucket = var.bucket

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_public_access_block" "lake" {
  bucket                  = aws_s3_bucket.lake.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "lake" {
  bucket = aws_s3_bucket.lake.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "lake" {
  bucket = aws_s3_bucket.lake.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.storage_key_arn
    }
  }
}

# Versions undo an accident. They must not outlive an erasure: the platform deletes every version itself, and what it
# left (a killed upload, a version that was overwritten) goes after some days. No object lock: what must be erasable.
resource "aws_s3_bucket_versioning" "lake" {
  bucket = aws_s3_bucket.lake.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "lake" {
  bucket = aws_s3_bucket.lake.id

  rule {
    id     = "unfinished"
    status = "Enabled"

    filter {
      prefix = ""
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  rule {
    id     = "noncurrent"
    status = "Enabled"

    filter {
      prefix = ""
    }

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_days
    }

    expiration {
      expired_object_delete_marker = true
    }
  }

  # What a job of EMR Serverless needs of the home: the task that submitted it removes it, but for one that was killed.
  rule {
    id     = "jobs"
    status = "Enabled"

    filter {
      prefix = "${var.prefix}/jobs/"
    }

    expiration {
      days = 1
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.lake]
}

resource "aws_s3_bucket_logging" "lake" {
  bucket        = aws_s3_bucket.lake.id
  target_bucket = var.log_bucket
  target_prefix = "lake/"
}

resource "aws_s3_bucket_policy" "lake" {
  bucket = aws_s3_bucket.lake.id
  policy = var.policy

  depends_on = [aws_s3_bucket_public_access_block.lake]
}
