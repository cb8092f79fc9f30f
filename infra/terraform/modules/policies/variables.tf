variable "name" {
  type        = string
  description = "Beginning of the names of roles, keys and buckets."
}

variable "partition" {
  type        = string
  description = "aws, or that of another part of AWS."
}

variable "region" {
  type = string
}

variable "account" {
  type        = string
  description = "Account that everything lies in: 12 digits."
}

variable "organization" {
  type        = string
  description = "Id of the organization (o-...), which nobody outside of gets anything."
}

variable "people_account" {
  type        = string
  description = "Account in which people sign in: 12 digits."
}

variable "members" {
  type        = map(list(string))
  description = "ARNs of the people's roles or users who may take each role. A role that isn't named is nobody's."
}

variable "deployer" {
  type        = string
  description = "ARN of the role that applies this."
}

variable "lake_bucket" {
  type = string
}

variable "prefix" {
  type        = string
  description = "Folder of the lake within its bucket, as in CLOAKHOUSE_LAKE."
}

variable "s3_endpoint" {
  type        = string
  description = "Id of the VPC endpoint of S3."
}

variable "kms_endpoint" {
  type        = string
  description = "Id of the VPC endpoint of KMS."
}

variable "storage_key_arn" {
  type        = string
  description = "ARN of the key under which S3 encrypts the lake's objects once more."
}

variable "application_arn" {
  type        = string
  description = "ARN of the application of EMR Serverless; of one that doesn't exist where there is none."
}

variable "enclave_image_sha384" {
  type        = string
  description = "PCR0 of the enclave image that alone may open the keys of `enclave_keys`; empty for no such rule."
}
