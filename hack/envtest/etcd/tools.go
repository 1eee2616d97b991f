//go:build tools

// Package tools names the main package, so that `go mod tidy` keeps what it needs in go.sum.
package tools

import _ "go.etcd.io/etcd/server/v3"
