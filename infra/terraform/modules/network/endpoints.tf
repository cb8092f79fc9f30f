locals {
  # Whose requests pass: those of this account's own identities, so that nothing leaves with somebody else's.
  guarded = ["kms", "sts", "logs", "ecr.api", "ecr.dkr", "secretsmanager"]
  plain   = ["eks", "eks-auth", "emr-serverless", "ec2", "elasticfilesystem"]

  subnets_of_endpoints = [for key, it in local.subnets : aws_subnet.private[key].id if it.block == "endpoints"]
  guard                = templatefile("${path.module}/../../policies/endpoint.json.tftpl", { account = var.account })
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "HTTPS from within the network to the endpoints"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  security_group_id = aws_security_group.endpoints.id
  description       = "HTTPS from within the network"
  cidr_ipv4         = var.cidr
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type   = "Interface" # with addresses of ours, so that policies of the cluster's network can name them
  private_dns_enabled = true
  subnet_ids          = local.subnets_of_endpoints
  security_group_ids  = [aws_security_group.endpoints.id]

  policy = templatefile("${path.module}/../../policies/endpoint_s3.json.tftpl", {
    account   = var.account
    partition = var.partition
    region    = var.region
  })

  dns_options {
    private_dns_only_for_inbound_resolver_endpoint = false
  }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = toset(concat(local.guarded, local.plain))

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = local.subnets_of_endpoints
  security_group_ids  = [aws_security_group.endpoints.id]
  policy              = contains(local.guarded, each.key) ? local.guard : null
}
