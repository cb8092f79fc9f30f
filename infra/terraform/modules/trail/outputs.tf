output "logs_bucket" {
  value = aws_s3_bucket.closed["logs"].id
}

output "alarms_topic" {
  value = aws_sns_topic.alarms.arn
}
