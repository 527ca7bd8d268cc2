// Command composeread reads .env files as Docker Compose does: the tests of inject/dotenv run it. Standard input is
// a JSON list of texts. Standard output is a list of what each sets, null for one that compose refuses.
// Standard error is compose's log.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

func main() {
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		fail(err)
	}
	all := make([]map[string]string, len(texts))
	for i, text := range texts {
		if values, err := dotenv.Parse(strings.NewReader(text)); err == nil {
			all[i] = values
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "composeread:", err)
	os.Exit(1)
}
