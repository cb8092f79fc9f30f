variable "names" {
  type        = map(string)
  description = "Names of the log groups, as the services that write them expect, by a name for each."
}

variable "key_arn" {
  type        = string
  description = "Key of the logs."
}
