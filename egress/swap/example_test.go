package swap_test

import (
	"fmt"
	"net/http"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/swap"
)

func Example() {
	placeholder := api.PlaceholderPrefix + "abcdefghijklmnopqrstuvwxyz"
	table, err := swap.New(api.Snapshot{Bound: []api.Bound{{
		Label: api.Label{ID: "bnd_1", ExposeAsEnv: "GH_TOKEN", Egress: &api.Egress{Placeholder: placeholder, Rules: []api.EgressRule{{Hosts: []string{"api.github.com"}}}}},
		Value: api.NewValue([]byte("s3cret-value")),
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, host := range []string{"api.github.com", "example.org"} {
		r, _ := http.NewRequest(http.MethodGet, "https://"+host+"/user", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+placeholder)
		swapped, err := table.Request(r, host, 443)
		fmt.Println(len(swapped.Bindings), err)
	}
	// Output:
	// 1 <nil>
	// 0 binding bnd_1 (GH_TOKEN): the request is refused: the rules don't allow the placeholder in this request (egress.hosts: api.github.com)
}
