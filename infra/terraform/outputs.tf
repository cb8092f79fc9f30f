output "CLOAKHOUSE_LAKE" {
  description = "Value of the variable of that name, for pods."
  value       = "s3://${var.lake_bucket}/${var.prefix}?region=${var.region}&kms_key=${module.keys.storage_arn}"
}

output "CLOAKHOUSE_KEYS" {
  description = "Value of the variable of that name, for pods."
  value       = "aws-kms:alias/${var.name}?region=${var.region}"
}

output "database" {
  description = "Address of PostgreSQL, and the secret with user and password."
  value       = { address = module.database.address, secret_arn = module.database.secret_arn }
}

output "cluster" {
  description = "Name of the cluster, and the volume handle of CLOAKHOUSE_HOME."
  value       = { name = module.cluster.name, home = module.cluster.home_volume }
}

output "spark_application" {
  description = "Id of the application of EMR Serverless; null without one."
  value       = length(module.spark) > 0 ? module.spark[0].application_id : null
}

output "roles" {
  description = "ARN of each role, for members and for `account` in dags/access.yaml."
  value       = module.roles.arns
}

output "alarms_topic" {
  description = "Topic that somebody has to subscribe to."
  value       = module.trail.alarms_topic
}
