variable "name" {
  type = string
}

variable "region" {
  type = string
}

variable "cidr" {
  type        = string
  description = "Addresses of the network, e.g. 10.60.0.0/16."
}

variable "zones" {
  type        = list(string)
  description = "Availability zones, two at least."
}

variable "log_key_arn" {
  type = string
}
