# CloudTrail: every call, and every read and write of the lake's objects, with a digest chain that shows a gap.

resource "aws_s3_bucket_logging" "trail" {
  bucket        = aws_s3_bucket.closed["trail"].id
  target_bucket = aws_s3_bucket.closed["logs"].id
  target_prefix = "trail/"
}

resource "aws_cloudtrail" "this" {
  #checkov:skip=CKV2_AWS_10:the bucket with its lock is the record; alarms come from EventBridge, without a second copy in CloudWatch
  name                          = var.name
  s3_bucket_name                = aws_s3_bucket.closed["trail"].id
  kms_key_id                    = var.key_arn
  sns_topic_name                = aws_sns_topic.alarms.arn
  is_multi_region_trail         = true
  include_global_service_events = true
  enable_log_file_validation    = true

  event_selector {
    read_write_type           = "All"
    include_management_events = true

    data_resource {
      type   = "AWS::S3::Object"
      values = ["${var.lake_arn}/"]
    }
  }

  depends_on = [aws_s3_bucket_policy.closed, aws_sns_topic_policy.alarms]
}
