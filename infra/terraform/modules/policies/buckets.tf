output "lake" {
  description = "Policy of the lake's bucket."
  value = templatefile("${local.folder}/s3_lake.json.tftpl", merge(local.common, {
    storage_key_arn   = var.storage_key_arn
    s3_endpoint       = var.s3_endpoint
    may_touch_landing = jsonencode([for role in local.landing_roles : local.arn_of[role]])
    may_touch_people  = jsonencode([for role in local.people_roles : local.arn_of[role]])
    writers           = jsonencode([for role in local.path_roles : local.arn_of[role]])
  }))
}

output "trail_bucket" {
  description = "Policy of the trail's bucket."
  value = templatefile("${local.folder}/s3_closed.json.tftpl", merge(local.common, {
    bucket_arn = local.trail_arn
    service    = "cloudtrail.amazonaws.com"
    source_arn = local.trail
  }))
}

output "logs_bucket" {
  description = "Policy of the bucket of access logs."
  value = templatefile("${local.folder}/s3_closed.json.tftpl", merge(local.common, {
    bucket_arn = local.logs_arn
    service    = "logging.s3.amazonaws.com"
    source_arn = "arn:${var.partition}:s3:::${var.lake_bucket}*"
  }))
}
