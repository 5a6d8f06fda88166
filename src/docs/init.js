// Deferred scripts run in order, so SwaggerUIBundle is defined. The URL is relative, so that it works under a sub-path.
SwaggerUIBundle({
  url: "openapi.yaml",
  dom_id: "#reference",
  deepLinking: true,
  displayRequestDuration: true,
  // By default, a badge sends the URL of the document to an external validator.
  validatorUrl: null,
});
