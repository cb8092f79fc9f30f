# Roles, one for each who works with the platform. What they may do is in policies/, and tested there.

resource "aws_iam_policy" "boundary" {
  for_each = var.boundaries

  name        = "${var.name}-${replace(each.key, "_", "-")}"
  description = "Nothing beyond this, whatever a role of ${var.name} is given"
  policy      = each.value
}

resource "aws_iam_role" "role" {
  for_each = var.roles

  name                 = each.value.name
  description          = each.value.about
  assume_role_policy   = each.value.trust
  permissions_boundary = aws_iam_policy.boundary[each.value.boundary_name].arn
  max_session_duration = each.value.session_s
}

resource "aws_iam_role_policy" "role" {
  for_each = var.roles

  name   = "permissions"
  role   = aws_iam_role.role[each.key].name
  policy = var.policies[each.key]
}

# What is attached by hand is taken off by the next apply.
resource "aws_iam_role_policies_exclusive" "role" {
  for_each = var.roles

  role_name    = aws_iam_role.role[each.key].name
  policy_names = [aws_iam_role_policy.role[each.key].name]
}

resource "aws_iam_role_policy_attachments_exclusive" "role" {
  for_each = var.roles

  role_name   = aws_iam_role.role[each.key].name
  policy_arns = []
}
