# Trust and permissions are apart: what a role may do names things that are made after the role.
locals {
  trust_values = { for role, it in local.platform.roles : role => merge(local.common, {
    members   = jsonencode(length(lookup(var.members, role, [])) > 0 ? var.members[role] : [local.nobody])
    mfa_age_s = tostring(it.mfa_age_s)
  }) }

  policy_values = { for role, it in local.platform.roles : role => merge(local.common, {
    read_objects    = jsonencode([for zone in it.reads : "${local.lake_arn}/${var.prefix}/${zone}/*"])
    read_prefixes   = jsonencode([for zone in it.reads : "${var.prefix}/${zone}/*"])
    spark_reads     = jsonencode([for zone in local.spark_reads : "${local.lake_arn}/${var.prefix}/${zone}/*"])
    spark_writes    = jsonencode([for zone in local.spark_writes : "${local.lake_arn}/${var.prefix}/${zone}/*"])
    jobs_reads      = jsonencode([for zone in local.jobs_reads : "${local.lake_arn}/${var.prefix}/${zone}/*"])
    jobs_writes     = jsonencode([for zone in local.jobs_writes : "${local.lake_arn}/${var.prefix}/${zone}/*"])
    application_arn = var.application_arn
  }) }
}

output "roles" {
  description = "Of each role: its name, its text, its boundary, and who may take it for how long."
  value = { for role, it in local.platform.roles : role => {
    name          = "${var.name}-${role}"
    about         = it.about
    boundary_name = it.boundary
    session_s     = max(3600, min(it.mfa_age_s, 43200))
    trust         = templatefile("${local.folder}/${it.trust}.json.tftpl", local.trust_values[role])
  } }
}

output "role_policies" {
  description = "What each role may do."
  value = { for role, it in local.platform.roles :
  role => templatefile("${local.folder}/${it.policy}.json.tftpl", local.policy_values[role]) }
}

output "boundaries" {
  description = "The permissions boundaries, by name."
  value = { for name in toset([for it in values(local.platform.roles) : it.boundary]) :
  name => templatefile("${local.folder}/${name}.json.tftpl", local.common) }
}
