variable "name" {
  type = string
}

variable "trail_bucket" {
  type = string
}

variable "logs_bucket" {
  type = string
}

variable "trail_policy" {
  type        = string
  description = "Policy of the trail's bucket."
}

variable "logs_policy" {
  type        = string
  description = "Policy of the bucket of access logs."
}

variable "key_arn" {
  type = string
}

variable "lake_arn" {
  type        = string
  description = "Bucket whose objects' reads and writes are recorded."
}

variable "locked_days" {
  type        = number
  description = "Days for which nobody removes what the trail wrote."
}

variable "kept_days" {
  type        = number
  description = "Days after which the trail and access logs are removed; more than locked_days."
}
