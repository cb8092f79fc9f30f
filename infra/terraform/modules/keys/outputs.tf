output "storage_arn" {
  value = aws_kms_key.storage.arn
}

output "trail_arn" {
  value = aws_kms_key.trail.arn
}

output "service_arn" {
  value = aws_kms_key.service.arn
}

output "master_arns" {
  description = "ARN of each master key, by its name."
  value       = { for key, it in aws_kms_key.master : key => it.arn }
}
