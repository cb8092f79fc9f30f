resource "aws_iam_role" "machines" {
  name               = "${var.name}-machines"
  description        = "Machines of the cluster: they join it and fetch images"
  assume_role_policy = templatefile("${path.module}/../../policies/trust_service.json.tftpl", { service = "ec2.amazonaws.com" })
}

resource "aws_iam_role_policy_attachment" "machines" {
  for_each = toset(["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryPullOnly"])

  role       = aws_iam_role.machines.name
  policy_arn = "arn:aws:iam::aws:policy/${each.key}"
}

resource "aws_launch_template" "machines" {
  name_prefix = "${var.name}-"

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      encrypted   = true
      kms_key_id  = var.key_arn
      volume_size = 100
      volume_type = "gp3"
    }
  }
}

resource "aws_eks_node_group" "this" {
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "machines"
  node_role_arn   = aws_iam_role.machines.arn
  subnet_ids      = var.subnet_ids
  instance_types  = var.instance_types

  scaling_config {
    min_size     = var.node_count
    desired_size = var.node_count
    max_size     = var.node_count * 2
  }

  launch_template {
    id      = aws_launch_template.machines.id
    version = aws_launch_template.machines.latest_version
  }

  depends_on = [aws_iam_role_policy_attachment.machines]
}
