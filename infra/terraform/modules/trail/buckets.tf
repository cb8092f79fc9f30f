# Two buckets that are closed to everybody but the service that writes them: the trail's, and that of access logs. S3
# delivers access logs only to a bucket without a lock and under its own keys.

locals {
  buckets = {
    trail = {
      name       = var.trail_bucket
      policy     = var.trail_policy
      locked     = true
      encryption = { algorithm = "aws:kms", key_arn = var.key_arn }
    }
    logs = {
      name       = var.logs_bucket
      policy     = var.logs_policy
      locked     = false
      encryption = { algorithm = "AES256", key_arn = null }
    }
  }
}

resource "aws_s3_bucket" "closed" {
  #checkov:skip=CKV2_AWS_62:nothing listens to the buckets; alarms come from EventBridge
  #checkov:skip=CKV_AWS_144:a copy in another region is a question of residency: not made by default
  #checkov:skip=CKV_AWS_19:both are encrypted, as above; the check doesn't follow for_each
  #checkov:skip=CKV_AWS_145:the trail is under a key of ours; S3 delivers access logs only to buckets under SSE-S3
  #checkov:skip=CKV_AWS_18:the trail's is logged, below; logging the bucket of logs into itself would never end
  for_each = local.buckets

  bucket              = each.value.name
  object_lock_enabled = each.value.locked

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_object_lock_configuration" "closed" {
  for_each = { for key, it in local.buckets : key => it if it.locked }

  bucket = aws_s3_bucket.closed[each.key].id

  rule {
    default_retention {
      mode = "COMPLIANCE"
      days = var.locked_days
    }
  }
}

resource "aws_s3_bucket_versioning" "closed" {
  for_each = local.buckets

  bucket = aws_s3_bucket.closed[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_public_access_block" "closed" {
  for_each = local.buckets

  bucket                  = aws_s3_bucket.closed[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "closed" {
  for_each = local.buckets

  bucket = aws_s3_bucket.closed[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "closed" {
  for_each = local.buckets

  bucket = aws_s3_bucket.closed[each.key].id

  rule {
    bucket_key_enabled = each.value.locked

    apply_server_side_encryption_by_default {
      sse_algorithm     = each.value.encryption.algorithm
      kms_master_key_id = each.value.encryption.key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "closed" {
  for_each = local.buckets

  bucket = aws_s3_bucket.closed[each.key].id

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

  depends_on = [aws_s3_bucket_versioning.closed]
}

resource "aws_s3_bucket_policy" "closed" {
  for_each = local.buckets

  bucket = aws_s3_bucket.closed[each.key].id
  policy = each.value.policy

  depends_on = [aws_s3_bucket_public_access_block.closed]
}
