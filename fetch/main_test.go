package fetch_test

import (
	"os"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/test/testmain"
)

func TestMain(m *testing.M) { os.Exit(testmain.WithoutLeaks(m)) }
