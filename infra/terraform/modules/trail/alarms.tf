# What somebody looks at the same day: who takes the role break-glass, who changes the policy of a key or a bucket, who
# ends a key, who gives pods another role or somebody the cluster, who touches the trail or these alarms. Subscribe to
# the topic; nothing does so here. EventBridge hears of this region alone.

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

# EventBridge publishes without saying for which account it does: policies of topic and key can't ask it.
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
        { eventSource = ["eks.amazonaws.com"], eventName = ["CreatePodIdentityAssociation", "UpdatePodIdentityAssociation", "CreateAccessEntry", "AssociateAccessPolicy"] },
        { eventSource = ["events.amazonaws.com"], eventName = ["DisableRule", "DeleteRule", "RemoveTargets"] },
        { eventSource = ["sns.amazonaws.com"], eventName = ["DeleteTopic", "SetTopicAttributes", "Unsubscribe"] },
        { eventSource = ["ec2.amazonaws.com"], eventName = ["ModifyVpcEndpoint", "DeleteVpcEndpoints", "AttachInternetGateway", "CreateNatGateway"] },
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "alarms" {
  rule = aws_cloudwatch_event_rule.alarms.name
  arn  = aws_sns_topic.alarms.arn
}
