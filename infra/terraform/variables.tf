variable "name" {
  type        = string
  default     = "cloakhouse"
  description = "Beginning of the names of roles, keys and other things."

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,20}$", var.name))
    error_message = "Lower-case letters, digits and hyphens, 3 to 21 of them."
  }
}

variable "partition" {
  type        = string
  default     = "aws"
  description = "Part of AWS. Managed policies are named in aws alone."
}

variable "region" {
  type        = string
  description = "Region; the contracts say where data may be (docs/retention.md)."
}

variable "account" {
  type        = string
  description = "Account of the platform: 12 digits."

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account))
    error_message = "12 digits."
  }
}

variable "people_account" {
  type        = string
  description = "Account in which people sign in: 12 digits; may be the same one."

  validation {
    condition     = can(regex("^[0-9]{12}$", var.people_account))
    error_message = "12 digits."
  }
}

variable "organization" {
  type        = string
  description = "Id of the organization, o-..."

  validation {
    condition     = can(regex("^o-[a-z0-9]{10,32}$", var.organization))
    error_message = "The id of an organization: o- and 10 to 32 letters or digits."
  }
}

variable "deployer" {
  type        = string
  description = "ARN of the role that applies this. It can change the policy of every key, and use none."
}

variable "members" {
  type        = map(list(string))
  default     = {}
  description = "Who may take each role: ARNs of people's roles or users, by the role's name, e.g. model-team."
}

variable "lake_bucket" {
  type        = string
  description = "Name of the lake's bucket; NAME-trail and NAME-access-logs go with it."
}

variable "prefix" {
  type        = string
  default     = "lake"
  description = "Folder of the lake within its bucket."
}

variable "noncurrent_days" {
  type        = number
  default     = 7
  description = "Days that an overwritten or deleted object stays, where the platform didn't remove it itself."
}

variable "rotation_days" {
  type        = number
  default     = 90
  description = "Days between rotations of each key, by KMS itself (90 to 2560)."

  validation {
    condition     = var.rotation_days >= 90 && var.rotation_days <= 2560
    error_message = "KMS takes 90 to 2560 days."
  }
}

variable "enclave_image_sha384" {
  type        = string
  default     = ""
  description = "PCR0 of a Nitro enclave that alone may open the most sensitive keys. Empty: no such rule. The platform runs in no enclave yet, so a value here closes these keys to it."
}

variable "cidr" {
  type        = string
  default     = "10.60.0.0/16"
  description = "Addresses of the network."
}

variable "service_cidr" {
  type        = string
  default     = "172.20.0.0/16"
  description = "Addresses of the cluster's services; outside of `cidr`."
}

variable "zones" {
  type        = list(string)
  description = "Availability zones."

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 8
    error_message = "Two to eight zones."
  }
}

variable "kubernetes_version" {
  type    = string
  default = "1.33"
}

variable "instance_types" {
  type    = list(string)
  default = ["m7i.xlarge"]
}

variable "node_count" {
  type    = number
  default = 3
}

variable "namespace" {
  type        = string
  default     = "cloakhouse"
  description = "Namespace of the platform in the cluster."
}

variable "database_class" {
  type    = string
  default = "db.m7g.large"
}

variable "database_backup_days" {
  type        = number
  default     = 14
  description = "Days that backups of the control database are kept."
}

variable "emr" {
  description = "EMR Serverless; null for none. Its release has Spark 4, e.g. emr-spark-8.0.0 (docs/engines.md)."
  default     = null
  type = object({
    release        = string
    image_uri      = string
    maximum_cpu    = string
    maximum_memory = string
  })
}

variable "trail_locked_days" {
  type        = number
  default     = 365
  description = "Days for which nobody, not even the account's root, removes what the trail wrote."
}

variable "trail_kept_days" {
  type        = number
  default     = 730
  description = "Days after which the trail and access logs are removed."
}
