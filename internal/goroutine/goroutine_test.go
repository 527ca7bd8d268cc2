package goroutine_test

import (
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/goroutine"
)

func TestGo(t *testing.T) {
	done := make(chan struct{})
	goroutine.Go(func() { close(done) })
	<-done
}
