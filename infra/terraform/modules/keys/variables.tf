variable "name" {
  type        = string
  description = "Prefix of the aliases: alias/NAME/protected/direct, as in CLOAKHOUSE_KEYS."
}

variable "master_keys" {
  type        = map(string)
  description = "Key policy of each master key, by its name."
}

variable "storage_policy" {
  type        = string
  description = "Policy of the key under which S3 encrypts the lake's objects once more."
}

variable "trail_policy" {
  type        = string
  description = "Policy of the key of the trail and of log groups."
}

variable "service_policy" {
  type        = string
  description = "Policy of the key of disks, database and secrets."
}

variable "rotation_days" {
  type        = number
  description = "Days after which KMS rotates each key by itself."
}
