output "arns" {
  description = "ARN of each role. Whoever uses it waits until the role is there."
  value       = { for role, it in aws_iam_role.role : role => it.arn }
}
