variable "name" {
  type = string
}

variable "vpc_id" {
  type = string
}

variable "subnet_ids" {
  type = list(string)
}

variable "release" {
  type        = string
  description = "Release of EMR whose Spark and Java fit the platform's image, e.g. emr-7.9.0."
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
