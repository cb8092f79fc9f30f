output "vpc_id" {
  value = aws_vpc.this.id
}

output "subnet_ids" {
  description = "Subnets by what lies in them (pods, control, endpoints, databases), one in each zone."
  value = { for block in keys(local.blocks) : block => [
  for key, it in local.subnets : aws_subnet.private[key].id if it.block == block] }
}

output "s3_endpoint" {
  value = aws_vpc_endpoint.s3.id
}

output "kms_endpoint" {
  value = aws_vpc_endpoint.interface["kms"].id
}
