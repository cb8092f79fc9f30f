output "address" {
  value = aws_db_instance.this.address
}

output "secret_arn" {
  description = "ARN of the secret with the administrator's user and password."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}
