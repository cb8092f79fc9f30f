output "arns" {
  description = "ARN of each log group, by the same names."
  value       = { for key, it in aws_cloudwatch_log_group.this : key => it.arn }
}
