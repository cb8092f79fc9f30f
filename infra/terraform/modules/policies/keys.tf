locals {
  key_values = { for key, it in local.platform.keys : key => merge(local.common, {
    key          = key
    users        = jsonencode([for role in it.users : local.arn_of[role]])
    grantees     = jsonencode(length(it.grantees) > 0 ? [for role in it.grantees : local.arn_of[role]] : [local.nobody])
    kms_endpoint = var.kms_endpoint
  }) }

  enclave = jsondecode(templatefile("${local.folder}/kms_enclave.json.tftpl", local.common)).Statement
}

output "master_keys" {
  description = "The key policy of each master key, by its name without the prefix: protected/direct."
  value = { for key, values in local.key_values : key => jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      jsondecode(templatefile("${local.folder}/kms_master_key.json.tftpl", values)).Statement,
      [for statement in local.enclave : statement
      if var.enclave_image_sha384 != "" && contains(local.platform.enclave_keys, key)],
    )
  }) }
}

output "storage_key" {
  description = "Policy of the key under which S3 encrypts the lake's objects once more."
  value = templatefile("${local.folder}/kms_storage_key.json.tftpl", merge(local.common, {
    readers = jsonencode([for role in keys(local.zone_readers) : local.arn_of[role]])
    writers = jsonencode([for role in local.path_roles : local.arn_of[role]])
  }))
}

output "trail_key" {
  description = "Policy of the key of the trail and of log groups."
  value       = templatefile("${local.folder}/kms_trail_key.json.tftpl", local.common)
}

output "service_key" {
  description = "Policy of the key of disks, database and secrets."
  value       = templatefile("${local.folder}/kms_service_key.json.tftpl", local.common)
}
