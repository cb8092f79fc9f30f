# Master keys: one for each zone and class of columns, and one for each other use (docs/keys.md). KMS rotates them, so
# that nobody who uses them has to; the platform's nightly run finds the new version and wraps anew what is under the old.

resource "aws_kms_key" "master" {
  for_each = var.master_keys

  description             = "Cloakhouse master key ${each.key}"
  policy                  = each.value
  enable_key_rotation     = true
  rotation_period_in_days = var.rotation_days
  deletion_window_in_days = 30

  tags = { "cloakhouse:key" = each.key }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "master" {
  for_each = var.master_keys

  name          = "alias/${var.name}/${each.key}"
  target_key_id = aws_kms_key.master[each.key].key_id
}

resource "aws_kms_key" "storage" {
  description             = "${var.name}: objects of the lake, beneath their own encryption"
  policy                  = var.storage_policy
  enable_key_rotation     = true
  rotation_period_in_days = var.rotation_days
  deletion_window_in_days = 30

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_key" "trail" {
  description             = "${var.name}: trail, topics and log groups"
  policy                  = var.trail_policy
  enable_key_rotation     = true
  deletion_window_in_days = 30

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_key" "service" {
  description             = "${var.name}: disks, database, secrets of the cluster"
  policy                  = var.service_policy
  enable_key_rotation     = true
  deletion_window_in_days = 30
}
