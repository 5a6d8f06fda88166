// Both scripts are deferred and run in order, so SwaggerUIBundle is there. The URL is relative for the sake of a sub-path.
SwaggerUIBundle({
  url: "openapi.yaml",
  dom_id: "#reference",
  deepLinking: true,
  displayRequestDuration: true,
  // By default a badge asks an outside service whether the document is valid.
  validatorUrl: null,
});
