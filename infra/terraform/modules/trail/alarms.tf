# What somebody looks at the same day: who takes the role break-glass, who changes the policy of a key or a bucket, who
# ends a key, who touches the trail. Subscribe to the topic; nothing does so here.

data "aws_caller_identity" "this" {}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.key_arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = templatefile("${path.module}/../../policies/sns_alarms.json.tftpl", {
    topic_arn = aws_sns_topic.alarms.arn
    account   = data.aws_caller_identity.this.account_id
  })
}

resource "aws_cloudwatch_event_rule" "alarms" {
  name        = "${var.name}-alarms"
  description = "Emergency access, and changes to keys, policies and the trail"

  event_pattern = jsonencode({
    detail-type = ["AWS API Call via CloudTrail"]
    detail = {
      "$or" = [
        { eventName = ["AssumeRole"], requestParameters = { roleArn = [{ suffix = ":role/${var.name}-break-glass" }] } },
        { eventSource = ["kms.amazonaws.com"], eventName = ["PutKeyPolicy", "ScheduleKeyDeletion", "CancelKeyDeletion", "DisableKey"] },
        { eventSource = ["s3.amazonaws.com"], eventName = ["PutBucketPolicy", "DeleteBucketPolicy", "PutBucketPublicAccessBlock", "DeleteBucketPublicAccessBlock"] },
        { eventSource = ["cloudtrail.amazonaws.com"], eventName = ["StopLogging", "DeleteTrail", "UpdateTrail", "PutEventSelectors"] },
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "alarms" {
  rule = aws_cloudwatch_event_rule.alarms.name
  arn  = aws_sns_topic.alarms.arn
}
