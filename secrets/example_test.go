package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// Store a secret and bind it to a sandbox: commands that miosa-env starts there have it in GH_TOKEN.
func Example() {
	vault := startVault()
	defer vault.stop()
	c, err := secrets.New(secrets.Config{BaseURL: vault.BaseURL, Key: vault.TenantKey})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	secret, binding, err := c.Set(context.Background(), secrets.Set{
		Name: "github", Value: secrets.Text("ghp_0123456789abcdef0123456789abcdef"),
		Resource: secrets.Sandbox("sb_1"), ExposeAsEnv: "GH_TOKEN",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(secret.Name, secret.Version, secret.MaskedValue)
	fmt.Println(binding.Resource, binding.ExposeAsEnv, binding.Delivery)
	// Output:
	// github 1 ghp_01...cdef
	// sandbox:sb_1 GH_TOKEN value
}

// Rotate a secret. Every resource that it is bound to receives the new value.
func ExampleClient_Rotate() {
	vault := startVault()
	defer vault.stop()
	ctx := context.Background()
	c, err := secrets.New(secrets.Config{BaseURL: vault.BaseURL, Key: vault.TenantKey})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	secret, _, err := c.Set(ctx, secrets.Set{Name: "database", Value: secrets.Text("first")})
	if err != nil {
		fmt.Println(err)
		return
	}

	secret, err = c.Rotate(ctx, secret.ID, secrets.Rotation{Value: secrets.Text("second")})
	fmt.Println(secret.Name, secret.Version, err)

	_, err = c.Rotate(ctx, "sec_unknown", secrets.Rotation{Value: secrets.Text("third")})
	fmt.Println(errors.Is(err, api.ErrNotFound))
	// Output:
	// database 2 <nil>
	// true
}

// Work on one sandbox without naming it in each call.
func ExampleClient_ForSandbox() {
	vault := startVault()
	defer vault.stop()
	ctx := context.Background()
	c, err := secrets.New(secrets.Config{BaseURL: vault.BaseURL, Key: vault.TenantKey})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	if _, _, err := c.Set(ctx, secrets.Set{Name: "for everyone", Value: secrets.Text("x")}); err != nil {
		fmt.Println(err)
		return
	}

	sandbox := c.ForSandbox("sb_1")
	for _, name := range []string{"github", "slack"} {
		if _, _, err := sandbox.Set(ctx, secrets.Set{Name: name, Value: secrets.Text("x")}); err != nil {
			fmt.Println(err)
			return
		}
	}
	list, err := sandbox.List(ctx, secrets.Filter{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range list {
		fmt.Println(s.Name)
	}
	// Output:
	// github
	// slack
}

// Create the key with which a sandbox reads its values. Set it there as MIOSA_API_KEY.
func ExampleClient_CreateKey() {
	vault := startVault()
	defer vault.stop()
	c, err := secrets.New(secrets.Config{BaseURL: vault.BaseURL, Key: vault.TenantKey})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	tomorrow := time.Now().Add(24 * time.Hour)
	key, err := c.CreateKey(context.Background(), secrets.Sandbox("sb_1"), &tomorrow)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(key.Resource, key.Key[:len(api.ResourceKeyPrefix)]+"...")
	// Output:
	// sandbox:sb_1 msk_r_...
}

// List who did what.
func ExampleClient_AuditAll() {
	vault := startVault()
	defer vault.stop()
	ctx := context.Background()
	began := time.Now()
	c, err := secrets.New(secrets.Config{BaseURL: vault.BaseURL, Key: vault.TenantKey})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	secret, _, err := c.Set(ctx, secrets.Set{Name: "github", Value: secrets.Text("x")})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Delete(ctx, secret.ID); err != nil {
		fmt.Println(err)
		return
	}

	for event, err := range c.AuditAll(ctx, secrets.AuditFilter{Since: &began}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(event.Action, event.Outcome)
	}
	// Output:
	// secret.create ok
	// secret.delete ok
}

// Connect an account by OAuth: show the user a link, and wait.
func ExampleFlow_WaitForCompletion() {
	vault := startVault()
	defer vault.stop()
	ctx := context.Background()
	c, err := secrets.New(secrets.Config{BaseURL: vault.BaseURL, Key: vault.TenantKey})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	flow, err := c.Connect(ctx, "acme", secrets.Connect{Resource: secrets.Sandbox("sb_1"), ExposeAsEnv: "ACME_TOKEN"})
	if err != nil {
		fmt.Println(err)
		return
	}
	show(flow.AuthorizeURL) // the user consents there
	done, err := flow.WaitForCompletion(ctx, secrets.WaitOptions{Timeout: time.Minute})
	var ended *secrets.FlowError
	switch {
	case errors.As(err, &ended):
		fmt.Println("not connected:", ended.Status.Message)
	case errors.Is(err, secrets.ErrFlowTimeout):
		fmt.Println("nobody came")
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Println(done.Provider, done.Status)
	}
	// Output:
	// acme completed
}

// show stands for a user who opens the link and consents.
func show(link string) {
	if _, err := visit(link); err != nil {
		panic(err)
	}
}
