variable "name" {
  type = string
}

variable "vpc_id" {
  type = string
}

variable "cidr" {
  type        = string
  description = "Addresses of the network."
}

variable "subnet_ids" {
  type = list(string)
}

variable "release" {
  type        = string
  description = "Release of EMR with Spark of the major line 4, that of the image, e.g. emr-spark-8.0.0."
}

variable "image_uri" {
  type        = string
  description = "Image of the platform for Spark, in ECR."
}

variable "maximum_cpu" {
  type        = string
  description = "vCPUs that all jobs have together at most, e.g. \"32 vCPU\"."
}

variable "maximum_memory" {
  type        = string
  description = "Memory that all jobs have together at most, e.g. \"128 GB\"."
}
