variable "roles" {
  description = "Of each role its name, its text its boundary and who may take it, as the module policies gives them."
  type = map(object({
    name          = string
    about         = string
    boundary_name = string
    session_s     = number
    trust         = string
  }))
}

variable "policies" {
  type        = map(string)
  description = "What each role may do."
}

variable "name" {
  type        = string
  description = "Beginning of the boundaries' names."
}

variable "boundaries" {
  type        = map(string)
  description = "The permissions boundaries, by name."
}
