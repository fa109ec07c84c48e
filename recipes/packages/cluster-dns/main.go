// cluster-dns answers a cluster's DNS questions out of its Services and Endpoints, and forwards all others.
//
// It stands in CoreDNS's place where there is none: it reads the Corefile that kubeadm writes, answers the probes
// that kubeadm's Deployment makes, and serves what kubernetes/dns's specification 1.1.0 asks for. Of the Corefile's
// plugins it has `kubernetes` and `forward`; those that kubeadm names beside them change no answer, and any other
// is refused rather than ignored.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/miekg/dns"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

func main() {
	path := flag.String("conf", "/etc/coredns/Corefile", "kubeadm's Corefile")
	flag.Parse()
	config, err := readCorefile(*path)
	check(err)
	access, err := rest.InClusterConfig()
	check(err)
	client, err := coreClient(access)
	check(err)

	services, watchServices := watched(client, "services", &core.Service{}, addressesOfService)
	endpoints, watchEndpoints := watched(client, "endpoints", &core.Endpoints{}, addressesOfEndpoints)
	forever := make(chan struct{})
	go watchServices.Run(forever)
	go watchEndpoints.Run(forever)

	ready := func() bool { return watchServices.HasSynced() && watchEndpoints.HasSynced() }
	go probe(":8080", "/health", func() bool { return true })
	go probe(":8181", "/ready", ready)
	if !cache.WaitForCacheSync(forever, ready) {
		log.Fatal("cluster-dns: the API server gave no Services")
	}

	zone := &zone{name: config.zone, services: informed{services}, endpoints: informed{endpoints}}
	forward := &forwarder{upstreams: config.upstreams}
	mux := dns.NewServeMux()
	mux.Handle(config.zone, zone.handler(forward.exchange))
	for _, reverse := range []string{"in-addr.arpa.", "ip6.arpa."} {
		mux.Handle(reverse, zone.reverse(forward.handler()))
	}
	mux.Handle(".", forward.handler())
	for _, network := range []string{"udp", "tcp"} {
		server := &dns.Server{Addr: ":53", Net: network, Handler: mux}
		go func() { check(server.ListenAndServe()) }()
	}
	log.Printf("cluster-dns: answers for %s, forwards to %v", config.zone, config.upstreams)
	<-forever
}

func check(err error) {
	if err != nil {
		log.Fatalf("cluster-dns: %v", err)
	}
}

// coreClient speaks to the API server of nothing but the core group.
func coreClient(access *rest.Config) (*rest.RESTClient, error) {
	scheme := runtime.NewScheme()
	if err := core.AddToScheme(scheme); err != nil {
		return nil, err
	}
	access.APIPath, access.GroupVersion = "/api", &core.SchemeGroupVersion
	access.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	return rest.RESTClientFor(access)
}

// watched is all objects of a kind, by namespace and by address, kept up to date while its controller runs.
func watched(
	client *rest.RESTClient, resource string, kind runtime.Object, addresses cache.IndexFunc,
) (cache.Indexer, cache.Controller) {
	source := cache.NewListWatchFromClient(client, resource, core.NamespaceAll, fields.Everything())
	indexers := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc, byAddress: addresses}
	return cache.NewIndexerInformer(source, kind, 0, cache.ResourceEventHandlerFuncs{}, indexers)
}

func probe(address, path string, good func() bool) {
	mux := http.NewServeMux()
	mux.HandleFunc(path, func(answer http.ResponseWriter, _ *http.Request) {
		if !good() {
			answer.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Addr: address, Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second}
	check(server.ListenAndServe())
}

const byAddress = "address"

func addressesOfService(object interface{}) ([]string, error) {
	if service, ok := object.(*core.Service); ok {
		return reversed(service.Spec.ClusterIP), nil
	}
	return nil, nil
}

func addressesOfEndpoints(object interface{}) ([]string, error) {
	var all []string
	if endpoints, ok := object.(*core.Endpoints); ok {
		for _, subset := range endpoints.Subsets {
			for _, address := range subset.Addresses {
				all = append(all, reversed(address.IP)...)
			}
		}
	}
	return all, nil
}

// reversed gives an address's name in the reverse zones; none for what is no address.
func reversed(address string) []string {
	name, err := dns.ReverseAddr(address)
	if err != nil {
		return nil
	}
	return []string{name}
}

// informed is what an informer knows, as the zone asks for it.
type informed struct{ cache.Indexer }

func (known informed) get(namespace, name string) interface{} {
	object, there, err := known.GetByKey(namespace + "/" + name)
	if err != nil || !there {
		return nil
	}
	return object
}

func (known informed) having(reverse string) []interface{} {
	objects, _ := known.ByIndex(byAddress, reverse)
	return objects
}

func (known informed) hasNamespace(name string) bool {
	objects, _ := known.ByIndex(cache.NamespaceIndex, name)
	return len(objects) > 0
}
