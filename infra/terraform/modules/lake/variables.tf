variable "bucket" {
  type = string
}

variable "prefix" {
  type        = string
  description = "Folder of the lake within its bucket."
}

variable "policy" {
  type        = string
  description = "The bucket's policy."
}

variable "storage_key_arn" {
  type = string
}

variable "log_bucket" {
  type        = string
  description = "Bucket that takes the access logs."
}

variable "noncurrent_days" {
  type        = number
  description = "Days for which an overwritten or deleted version is kept, where the platform didn't remove it itself."
}
