# Every target calls what works without make, too: see CONTRIBUTING.md.

STATICCHECK = go tool -modfile=tools/go.mod staticcheck

.DEFAULT_GOAL := help
.PHONY: help demo test torture lint fmt build bench bench-memory docs clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## run the main job: real events through real services on one SQLite file
	go run ./examples/demo

test: ## run every check and test of the repository
	go run ./internal/testall

torture: ## torture every engine for a minute, see docs/guides/torture.md
	go run ./internal/torture/cmd/torture -engine all -for 60s

lint: ## run go vet, staticcheck and the repository's own rules, without the tests
	go vet ./...
	$(STATICCHECK) ./...
	go test -count=1 ./internal/tidy

fmt: ## format the Go code
	gofmt -l -w .

build: ## build the static binary bin/deed
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/deed ./cmd/deed

bench: ## measure beside raw clients and peers, see bench/README.md
	cd bench && go run .

bench-memory: ## check that memory stays bounded under a long backlog and many parked keys
	cd bench && go run . -memory

docs: ## renew the code excerpts in the documentation
	go test -count=1 ./internal/tidy -run TestMarkdownExcerpts -update

clean: ## remove what the targets above wrote
	rm -rf bin
