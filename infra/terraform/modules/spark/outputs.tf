output "application_arn" {
  value = aws_emrserverless_application.this.arn
}

output "application_id" {
  value = aws_emrserverless_application.this.id
}

output "security_group_id" {
  value = aws_security_group.jobs.id
}
