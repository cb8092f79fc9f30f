# EMR Serverless: an application that takes Spark jobs, in the network without a way out. It starts with a job and stops
# when it is idle. Jobs run as the role jobs, their disks are encrypted by the service, and so is what workers send each
# other. What Airflow submits says so once more, and keeps logs at the service off (docs/engines.md).

resource "aws_security_group" "jobs" {
  #checkov:skip=CKV2_AWS_5:the application's network configuration below attaches it
  name        = "${var.name}-spark"
  description = "Spark drivers and workers of EMR Serverless"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.jobs.id
  description       = "Endpoints of the network"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "database" {
  security_group_id = aws_security_group.jobs.id
  description       = "The control database"
  cidr_ipv4         = var.cidr
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_vpc_security_group_egress_rule" "among" {
  security_group_id            = aws_security_group.jobs.id
  description                  = "Drivers and workers among themselves"
  referenced_security_group_id = aws_security_group.jobs.id
  ip_protocol                  = "tcp"
  from_port                    = 1024
  to_port                      = 65535
}

resource "aws_vpc_security_group_ingress_rule" "among" {
  #checkov:skip=CKV_AWS_25:from this security group alone; the check looks at ports and not at the source
  security_group_id            = aws_security_group.jobs.id
  description                  = "Drivers and workers among themselves"
  referenced_security_group_id = aws_security_group.jobs.id
  ip_protocol                  = "tcp"
  from_port                    = 1024
  to_port                      = 65535
}

resource "aws_emrserverless_application" "this" {
  name          = var.name
  release_label = var.release
  type          = "spark"
  architecture  = "X86_64"

  runtime_configuration {
    classification = "spark-defaults"
    properties     = { "spark.ssl.internode.enabled" = "true" }
  }

  monitoring_configuration {
    managed_persistence_monitoring_configuration {
      enabled = false
    }
  }

  image_configuration {
    image_uri = var.image_uri
  }

  maximum_capacity {
    cpu    = var.maximum_cpu
    memory = var.maximum_memory
  }

  auto_start_configuration {
    enabled = true
  }

  auto_stop_configuration {
    enabled              = true
    idle_timeout_minutes = 10
  }

  network_configuration {
    subnet_ids         = var.subnet_ids
    security_group_ids = [aws_security_group.jobs.id]
  }
}
