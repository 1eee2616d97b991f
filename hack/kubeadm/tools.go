//go:build tools

// Package tools names the main package, so that `go mod tidy` keeps what it needs in go.sum.
package tools

import _ "k8s.io/kubernetes/cmd/kubeadm"
