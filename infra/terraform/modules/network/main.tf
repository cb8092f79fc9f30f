# A network without a way out: no internet gateway, no NAT. Everything that is asked lies behind an endpoint.

locals {
  # What lies where. The network policies of the cluster name the last three (infra/kubernetes/overlays/aws).
  blocks = {
    pods      = cidrsubnet(var.cidr, 1, 0)
    control   = cidrsubnet(var.cidr, 5, 29)
    endpoints = cidrsubnet(var.cidr, 5, 30)
    databases = cidrsubnet(var.cidr, 5, 31)
  }

  subnets = { for it in setproduct(keys(local.blocks), var.zones) : "${it[0]}-${it[1]}" => {
    block = it[0]
    zone  = it[1]
    cidr  = cidrsubnet(local.blocks[it[0]], 3, index(var.zones, it[1]))
  } }
}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = var.name }
}

resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.this.id
}

resource "aws_subnet" "private" {
  for_each = local.subnets

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.value.zone
  cidr_block              = each.value.cidr
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

resource "aws_route_table_association" "private" {
  for_each = aws_subnet.private

  subnet_id      = each.value.id
  route_table_id = aws_route_table.private.id
}

resource "aws_flow_log" "this" {
  vpc_id          = aws_vpc.this.id
  traffic_type    = "ALL"
  log_destination = var.log_group_arn
  iam_role_arn    = aws_iam_role.flow.arn
}

resource "aws_iam_role" "flow" {
  name               = "${var.name}-flow-logs"
  description        = "Writes the network's flow log"
  assume_role_policy = templatefile("${path.module}/../../policies/trust_service.json.tftpl", { service = "vpc-flow-logs.amazonaws.com" })
}

resource "aws_iam_role_policy" "flow" {
  name   = "permissions"
  role   = aws_iam_role.flow.name
  policy = templatefile("${path.module}/../../policies/role_flow_logs.json.tftpl", { log_group_arn = var.log_group_arn })
}
