/** All texts in Spanish, by section. */
import assignments from "./assignments";
import code from "./code";
import common from "./common";
import contacts from "./contacts";
import imported from "./import";
import imports from "./imports";
import set from "./set";
import sets from "./sets";
import settings from "./settings";
import webhooks from "./webhooks";

export default { assignments, code, common, contacts, import: imported, imports, set, sets, settings, webhooks };
