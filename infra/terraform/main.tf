module "policies" {
  source = "./modules/policies"

  name                 = var.name
  partition            = var.partition
  region               = var.region
  account              = var.account
  organization         = var.organization
  people_account       = var.people_account
  members              = var.members
  deployer             = var.deployer
  lake_bucket          = var.lake_bucket
  prefix               = var.prefix
  s3_endpoint          = module.network.s3_endpoint
  kms_endpoint         = module.network.kms_endpoint
  storage_key_arn      = module.keys.storage_arn
  application_arn      = local.application_arn
  enclave_image_sha384 = var.enclave_image_sha384
}

locals {
  no_application  = "arn:${var.partition}:emr-serverless:${var.region}:${var.account}:/applications/none"
  application_arn = length(module.spark) > 0 ? module.spark[0].application_arn : local.no_application

  # KMS refuses a policy that names a role which isn't there, so key policies wait for the roles.
  roles_are_there = length(module.roles.arns) > 0
}

module "roles" {
  source = "./modules/roles"

  name       = var.name
  roles      = module.policies.roles
  policies   = module.policies.role_policies
  boundaries = module.policies.boundaries
}

module "keys" {
  source = "./modules/keys"

  name           = var.name
  master_keys    = { for key, policy in module.policies.master_keys : key => policy if local.roles_are_there }
  storage_policy = local.roles_are_there ? module.policies.storage_key : ""
  trail_policy   = local.roles_are_there ? module.policies.trail_key : ""
  service_policy = local.roles_are_there ? module.policies.service_key : ""
  rotation_days  = var.rotation_days
}

module "network" {
  source = "./modules/network"

  name          = var.name
  partition     = var.partition
  region        = var.region
  account       = var.account
  cidr          = var.cidr
  zones         = var.zones
  log_group_arn = module.logs.arns["flow"]
}

module "logs" {
  source = "./modules/logs"

  key_arn = module.keys.trail_arn
  names = {
    flow       = "/${var.name}/flow"
    cluster    = "/aws/eks/${var.name}/cluster"
    postgresql = "/aws/rds/instance/${var.name}/postgresql"
    upgrade    = "/aws/rds/instance/${var.name}/upgrade"
  }
}

module "trail" {
  source = "./modules/trail"

  name         = var.name
  trail_bucket = "${var.lake_bucket}-trail"
  logs_bucket  = "${var.lake_bucket}-access-logs"
  trail_policy = module.policies.trail_bucket
  logs_policy  = module.policies.logs_bucket
  key_arn      = module.keys.trail_arn
  lake_arn     = module.lake.arn
  locked_days  = var.trail_locked_days
  kept_days    = var.trail_kept_days
}

module "lake" {
  source = "./modules/lake"

  bucket          = var.lake_bucket
  prefix          = var.prefix
  policy          = module.policies.lake
  storage_key_arn = module.keys.storage_arn
  log_bucket      = module.trail.logs_bucket
  noncurrent_days = var.noncurrent_days
}

module "cluster" {
  source = "./modules/cluster"

  name               = var.name
  kubernetes_version = var.kubernetes_version
  vpc_id             = module.network.vpc_id
  cidr               = var.cidr
  subnet_ids         = module.network.subnet_ids["pods"]
  control_subnet_ids = module.network.subnet_ids["control"]
  service_cidr       = var.service_cidr
  key_arn            = module.keys.service_arn
  instance_types     = var.instance_types
  node_count         = var.node_count

  # Service accounts of infra/kubernetes.
  service_accounts = {
    airflow        = { namespace = var.namespace, account = "airflow", role_arn = module.roles.arns["platform"] }
    spark-driver   = { namespace = var.namespace, account = "spark-driver", role_arn = module.roles.arns["platform"] }
    spark-executor = { namespace = "${var.namespace}-spark", account = "spark-executor", role_arn = module.roles.arns["spark"] }
  }

  depends_on = [module.logs] # EKS would make a log group of its own
}

module "spark" {
  source = "./modules/spark"
  count  = var.emr == null ? 0 : 1

  name           = var.name
  vpc_id         = module.network.vpc_id
  cidr           = var.cidr
  subnet_ids     = module.network.subnet_ids["pods"]
  release        = var.emr.release
  image_uri      = var.emr.image_uri
  maximum_cpu    = var.emr.maximum_cpu
  maximum_memory = var.emr.maximum_memory
}

module "database" {
  source = "./modules/database"

  name           = var.name
  vpc_id         = module.network.vpc_id
  subnet_ids     = module.network.subnet_ids["databases"]
  key_arn        = module.keys.service_arn
  instance_class = var.database_class
  storage_gib    = 50
  backup_days    = var.database_backup_days

  client_security_group_ids = merge(
    { cluster = module.cluster.security_group_id },
    { for module in module.spark : "jobs" => module.security_group_id },
  )

  depends_on = [module.logs] # RDS would make log groups of its own
}
