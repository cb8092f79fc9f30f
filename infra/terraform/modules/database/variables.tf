variable "name" {
  type = string
}

variable "vpc_id" {
  type = string
}

variable "subnet_ids" {
  type = list(string)
}

variable "client_security_group_ids" {
  type        = map(string)
  description = "Security groups that may connect, by a name for each."
}

variable "key_arn" {
  type = string
}

variable "instance_class" {
  type = string
}

variable "storage_gib" {
  type = number
}

variable "backup_days" {
  type        = number
  description = "Days that backups are kept. Erased persons are in them for that long: the control database holds no rows of people, but it holds tokens of erasures."
}
