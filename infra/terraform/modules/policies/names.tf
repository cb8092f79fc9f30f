# Names and ARNs that policies speak of. They are composed and not asked for, so that a policy can name a role before it
# is there, and roles and keys don't wait for each other.

locals {
  folder   = "${path.module}/../../policies"
  platform = jsondecode(file("${local.folder}/platform.json"))

  arn_of = { for role in keys(local.platform.roles) :
  role => "arn:${var.partition}:iam::${var.account}:role/${var.name}-${role}" }

  nobody = "arn:${var.partition}:iam::${var.account}:role/${var.name}-nobody"

  lake_arn      = "arn:${var.partition}:s3:::${var.lake_bucket}"
  trail_arn     = "arn:${var.partition}:s3:::${var.lake_bucket}-trail"
  logs_arn      = "arn:${var.partition}:s3:::${var.lake_bucket}-access-logs"
  trail         = "arn:${var.partition}:cloudtrail:${var.region}:${var.account}:trail/${var.name}"
  cluster_arn   = "arn:${var.partition}:eks:${var.region}:${var.account}:cluster/${var.name}"
  zone_readers  = { for role, it in local.platform.roles : role => it.reads if length(it.reads) > 0 }
  path_roles    = ["platform", "spark", "jobs"]
  spark_reads   = ["landing", "models", "rights"]
  spark_writes  = ["protected", "quarantine", "views", "synthetic"]
  jobs_reads    = ["landing", "rights"]
  jobs_writes   = ["protected", "quarantine", "views", "synthetic", "models", "rights/sieves", "jobs"]
  people_zones  = ["protected", "quarantine", "views"]
  landing_roles = concat(local.path_roles, [for role, zones in local.zone_readers : role if contains(zones, "landing")])
  people_roles = concat(local.path_roles, [for role, zones in local.zone_readers : role
  if length(setintersection(zones, local.people_zones)) > 0])

  common = {
    name                 = var.name
    partition            = var.partition
    region               = var.region
    account              = var.account
    organization         = var.organization
    people_account       = var.people_account
    deployer             = var.deployer
    lake_arn             = local.lake_arn
    trail_arn            = local.trail_arn
    trail                = local.trail
    prefix               = var.prefix
    applications_arn     = "arn:${var.partition}:emr-serverless:${var.region}:${var.account}:/applications/*"
    own_secrets_arn      = "arn:${var.partition}:secretsmanager:${var.region}:${var.account}:secret:${var.name}/*"
    authorities_arn      = "arn:${var.partition}:secretsmanager:${var.region}:${var.account}:secret:${var.name}/ca.crt-??????"
    jobs_secrets_arn     = "arn:${var.partition}:secretsmanager:${var.region}:${var.account}:secret:${var.name}/jobs/*"
    cluster_arn          = local.cluster_arn
    key_administrator    = local.arn_of["key-administrator"]
    break_glass          = local.arn_of["break-glass"]
    auditor              = local.arn_of["auditor"]
    platform             = local.arn_of["platform"]
    jobs_role            = local.arn_of["jobs"]
    autoscaling_role     = "arn:${var.partition}:iam::${var.account}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    enclave_image_sha384 = var.enclave_image_sha384
  }
}
