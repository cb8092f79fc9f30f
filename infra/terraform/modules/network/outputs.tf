output "vpc_id" {
  value = aws_vpc.this.id
}

output "subnet_ids" {
  value = [for subnet in aws_subnet.private : subnet.id]
}

output "s3_endpoint" {
  value = aws_vpc_endpoint.s3.id
}

output "kms_endpoint" {
  value = aws_vpc_endpoint.interface["kms"].id
}
