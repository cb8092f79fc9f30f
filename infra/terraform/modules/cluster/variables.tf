variable "name" {
  type = string
}

variable "kubernetes_version" {
  type = string
}

variable "vpc_id" {
  type = string
}

variable "cidr" {
  type        = string
  description = "Addresses of the network, from which the cluster's API is asked."
}

variable "subnet_ids" {
  type        = list(string)
  description = "Subnets of machines, pods and the mount targets of CLOAKHOUSE_HOME."
}

variable "control_subnet_ids" {
  type        = list(string)
  description = "Subnets of the addresses under which the cluster's API is reached, and of nothing else."
}

variable "service_cidr" {
  type        = string
  description = "Addresses of the cluster's services; outside of the network's."
}

variable "key_arn" {
  type        = string
  description = "Key of secrets and disks."
}

variable "instance_types" {
  type = list(string)
}

variable "node_count" {
  type = number
}

variable "service_accounts" {
  description = "Roles of pods: service account, its namespace, and the ARN of the role."
  type = map(object({
    namespace = string
    account   = string
    role_arn  = string
  }))
}
