# Log groups, each encrypted and kept for a year. Services that find none make their own: unencrypted, and kept for ever.

resource "aws_cloudwatch_log_group" "this" {
  for_each = var.names

  name              = each.value
  retention_in_days = 365
  kms_key_id        = var.key_arn
}
