variable "name" {
  type = string
}

variable "partition" {
  type = string
}

variable "region" {
  type = string
}

variable "account" {
  type        = string
  description = "Account whose identities may use the endpoints."
}

variable "cidr" {
  type        = string
  description = "Addresses of the network, e.g. 10.60.0.0/16."
}

variable "zones" {
  type        = list(string)
  description = "Availability zones, two at least and eight at most."
}

variable "log_group_arn" {
  type        = string
  description = "Log group of the network's flow log."
}
