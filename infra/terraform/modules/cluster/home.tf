# CLOAKHOUSE_HOME: wrapped keys, locks and the inbox, shared by all components. It lies on EFS, encrypted, over TLS.

resource "aws_efs_file_system" "home" {
  encrypted  = true
  kms_key_id = var.key_arn

  tags = { Name = "${var.name}-home" }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_efs_file_system_policy" "home" {
  file_system_id = aws_efs_file_system.home.id
  policy = templatefile("${path.module}/../../policies/efs_home.json.tftpl", {
    file_system_arn  = aws_efs_file_system.home.arn
    access_point_arn = aws_efs_access_point.home.arn
  })
}

resource "aws_efs_backup_policy" "home" {
  file_system_id = aws_efs_file_system.home.id

  backup_policy {
    status = "ENABLED"
  }
}

resource "aws_security_group" "home" {
  name        = "${var.name}-home"
  description = "NFS from the cluster's machines"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "home" {
  security_group_id            = aws_security_group.home.id
  description                  = "NFS from the cluster's machines"
  referenced_security_group_id = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}

resource "aws_efs_mount_target" "home" {
  for_each = { for number, subnet in var.subnet_ids : tostring(number) => subnet }

  file_system_id  = aws_efs_file_system.home.id
  subnet_id       = each.value
  security_groups = [aws_security_group.home.id]
}

# Every file is the platform's user's, whoever mounts it.
resource "aws_efs_access_point" "home" {
  file_system_id = aws_efs_file_system.home.id

  posix_user {
    uid = 10001
    gid = 10001
  }

  root_directory {
    path = "/home"

    creation_info {
      owner_uid   = 10001
      owner_gid   = 10001
      permissions = "0700"
    }
  }
}
